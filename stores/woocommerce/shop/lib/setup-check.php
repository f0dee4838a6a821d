<?php
/** Check the result of the set-up, including what would otherwise fail only at the first order. */

declare(strict_types=1);

namespace Storefleet;

final class SetupCheck {
	/** Check what every release needs, whatever the owner has set. */
	public static function verify_tables(): void {
		self::verify(
			[
				'the tables of WordPress are older than this release' => [ Health::class, 'is_wordpress_current' ],
				'the tables of WooCommerce are older than this release' => [ Health::class, 'is_woocommerce_current' ],
			]
		);
	}

	/** Check what a new store must have. */
	public static function verify_new_store(): void {
		$orders = '\Automattic\WooCommerce\Utilities\OrderUtil';
		self::verify(
			[
				'WooCommerce is not active' => [ RequiredPlugin::class, 'is_active' ],
				'the order tables are not enabled' => [ $orders, 'custom_orders_table_usage_is_enabled' ],
				'there is no administrator' => [ self::class, 'has_administrator' ],
				'the theme is missing' => static fn (): bool => wp_get_theme()->exists(),
				'product pages have no rewrite rule' => static fn (): bool => self::has_rewrite_rule( 'product' ),
				'order pages have no rewrite rule' => static fn (): bool => self::has_rewrite_rule( 'order-received' ),
			]
		);
	}

	/** @param array<string, callable(): bool> $checks */
	private static function verify( array $checks ): void {
		foreach ( $checks as $problem => $check ) {
			if ( ! $check() ) {
				throw new ReleaseError( "After the set-up, {$problem}." );
			}
		}
	}

	private static function has_administrator(): bool {
		return [] !== get_users( [ 'role' => 'administrator', 'number' => 1, 'fields' => 'ID' ] );
	}

	/** Check that a rewrite rule contains a part of the URL path. */
	private static function has_rewrite_rule( string $part ): bool {
		$rules = array_keys( (array) get_option( 'rewrite_rules' ) );
		return [] !== preg_grep( '~' . preg_quote( $part, '~' ) . '~', $rules );
	}
}
