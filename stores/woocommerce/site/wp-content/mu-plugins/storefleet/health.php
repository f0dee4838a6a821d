<?php
/**
 * GET /storefleet/health: whether the parts of the store work. The answer comes after WordPress and
 * its plugins have started and before a page is chosen, so it needs no page, product, theme or
 * permalink of the owner's. A fatal error of the code makes it a 500.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Health {
	private const PATH = '/storefleet/health';

	/** @param array<string, mixed> $server */
	public static function handle( array $server ): void {
		if ( self::PATH === strtok( (string) ( $server['REQUEST_URI'] ?? '' ), '?' ) ) {
			add_action( 'wp_loaded', [ self::class, 'respond' ], PHP_INT_MIN );
		}
	}

	public static function respond(): never {
		http_response_code( 200 );
		header( 'Content-Type: application/json' );
		header( 'Cache-Control: no-store' );
		echo json_encode( self::read_parts() );
		exit;
	}

	/** @return array<string, string> */
	private static function read_parts(): array {
		global $wpdb;
		$is_current = self::is_wordpress_current() && self::is_woocommerce_current();
		return [
			'database'    => '1' === $wpdb->get_var( 'SELECT 1' ) ? 'ok' : 'unavailable',
			'schema'      => $is_current ? 'current' : 'outdated',
			'setup'       => Releases::is_set_up( get_option( Releases::OPTION ) ) ? 'done' : 'pending',
			'woocommerce' => RequiredPlugin::is_loaded() ? 'active' : 'inactive',
			'storefront'  => self::is_closed() ? 'closed' : 'open',
		];
	}

	/** Report whether WordPress's tables are those of this release or newer. */
	public static function is_wordpress_current(): bool {
		global $wp_db_version;
		return (int) get_option( 'db_version' ) >= (int) $wp_db_version;
	}

	/** Report whether WooCommerce's tables are those of this release or newer. */
	public static function is_woocommerce_current(): bool {
		return ! RequiredPlugin::is_loaded() || ! \WC_Install::needs_db_update();
	}

	/** Report whether the owner shows customers “coming soon”, on the whole site or on the store's pages. */
	private static function is_closed(): bool {
		return RequiredPlugin::is_loaded() && 'yes' === get_option( 'woocommerce_coming_soon' );
	}
}
