<?php
/** Check the result of the set-up, including what would otherwise fail only at the first order. */

declare(strict_types=1);

namespace Storefleet;

final class SetupCheck {
	public static function verify_store(): void {
		foreach ( self::list_checks() as $problem => $check ) {
			if ( ! $check() ) {
				throw new \RuntimeException( "After the set-up, {$problem}." );
			}
		}
	}

	/** @return array<string, callable(): bool> */
	private static function list_checks(): array {
		$orders = '\Automattic\WooCommerce\Utilities\OrderUtil';
		return [
			'WooCommerce is not active' => [ self::class, 'is_woocommerce_active' ],
			'the order tables are not enabled' => [ $orders, 'custom_orders_table_usage_is_enabled' ],
			'there is no administrator' => [ self::class, 'has_administrator' ],
			'the theme is missing' => static fn (): bool => wp_get_theme()->exists(),
			'product pages have no rewrite rule' => static fn (): bool => self::has_rewrite_rule( 'product' ),
			'order pages have no rewrite rule' => static fn (): bool => self::has_rewrite_rule( 'order-received' ),
		];
	}

	private static function is_woocommerce_active(): bool {
		return in_array( 'woocommerce/woocommerce.php', (array) get_option( 'active_plugins' ), true );
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
