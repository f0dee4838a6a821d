<?php
/** The set-up's last look: what READY will ask for, and what nobody would miss before the first order. */

declare(strict_types=1);

namespace Storefleet;

final class Check {
	public static function the_shop_is_whole(): void {
		foreach ( self::questions() as $what => $answer ) {
			if ( ! $answer() ) {
				throw new \RuntimeException( "after the set-up {$what}" );
			}
		}
	}

	/** @return array<string, callable(): bool> */
	private static function questions(): array {
		$orders = '\Automattic\WooCommerce\Utilities\OrderUtil';
		return [
			'WooCommerce is not active'             => static fn (): bool => in_array( 'woocommerce/woocommerce.php', (array) get_option( 'active_plugins' ), true ),
			'orders have no tables of their own'    => static fn (): bool => $orders::custom_orders_table_usage_is_enabled(),
			'there is no administrator'             => static fn (): bool => [] !== get_users( [ 'role' => 'administrator', 'number' => 1, 'fields' => 'ID' ] ),
			'the theme is not there'                => static fn (): bool => wp_get_theme()->exists(),
			'addresses of products are not known'   => static fn (): bool => self::knows( 'product' ),
			'addresses of orders are not known'     => static fn (): bool => self::knows( 'order-received' ),
		];
	}

	/** Whether a part of addresses leads anywhere. */
	private static function knows( string $part ): bool {
		return [] !== preg_grep( '~' . preg_quote( $part, '~' ) . '~', array_keys( (array) get_option( 'rewrite_rules' ) ) );
	}
}
