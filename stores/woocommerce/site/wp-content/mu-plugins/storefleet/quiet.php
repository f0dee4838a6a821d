<?php
/** What WordPress and WooCommerce would do on their own, and the platform or nobody does here. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Quiet {
	/** Parts of WooCommerce's admin that ask servers elsewhere, or advertise. */
	private const LEFT_OUT = [ 'remote-inbox-notifications', 'remote-free-extensions', 'payment-gateway-suggestions', 'shipping-label-banner', 'wcpay-promotion', 'wc-pay-promotion', 'wc-pay-welcome-page', 'launch-your-store' ];

	public static function arrange(): void {
		add_filter( 'xmlrpc_enabled', '__return_false' );
		add_filter( 'action_scheduler_allow_async_request_runner', '__return_false' );
		add_filter( 'woocommerce_allow_marketplace_suggestions', '__return_false' );
		add_filter( 'woocommerce_enable_auto_update_db', '__return_false' );
		add_filter( 'woocommerce_admin_features', [ self::class, 'features' ], 100 );
		add_filter( 'woocommerce_prevent_automatic_wizard_redirect', '__return_true' );
		add_filter( 'site_status_tests', [ self::class, 'tests' ] );
		add_action( 'plugins_loaded', [ self::class, 'leave_updates_to_the_set_up' ], 100 );
		add_action( 'admin_init', [ self::class, 'ask_for_no_updates' ], 1 );
		add_action( 'init', [ self::class, 'ask_for_no_updates' ], 1 );
	}

	/**
	 * A page view never changes tables: the set-up of a release does it once, while pages of the old one are shown.
	 */
	public static function leave_updates_to_the_set_up(): void {
		foreach ( [ 5 => 'check_version', 20 => 'manual_database_update' ] as $priority => $method ) {
			remove_action( 'init', [ 'WC_Install', $method ], $priority );
		}
	}

	public static function ask_for_no_updates(): void {
		foreach ( [ '_maybe_update_core', '_maybe_update_plugins', '_maybe_update_themes' ] as $function ) {
			remove_action( 'admin_init', $function );
		}
		foreach ( [ 'wp_version_check', 'wp_update_plugins', 'wp_update_themes' ] as $hook ) {
			remove_all_actions( $hook );
		}
		remove_action( 'init', 'wp_schedule_update_checks' );
	}

	/**
	 * @param array<int|string, string> $features
	 * @return array<int|string, string>
	 */
	public static function features( array $features ): array {
		return array_values( array_diff( $features, self::LEFT_OUT ) );
	}

	/**
	 * @param array<string, mixed> $tests
	 * @return array<string, mixed>
	 */
	public static function tests( array $tests ): array {
		unset( $tests['async']['dotorg_communication'], $tests['async']['background_updates'], $tests['async']['loopback_requests'] );
		unset( $tests['direct']['plugin_theme_auto_updates'], $tests['direct']['update_temp_backup_writable'] );
		return $tests;
	}
}
