<?php
/** How the shop sells: currency, country, delivery at a flat rate, payment on delivery, customers without accounts. */

declare(strict_types=1);

namespace Storefleet;

final class Settings {
	private const DELIVERY = 'flat_rate';
	private const PRICE    = '5';

	public static function are_of( Configuration $store ): void {
		$currency = $store->optional( 'parameters.currency', 'USD' );
		$country  = $store->optional( 'parameters.country', 'US' );
		if ( ! isset( get_woocommerce_currencies()[ $currency ] ) ) {
			throw new Mistake( "WooCommerce knows no currency “{$currency}”: give the store another." );
		}
		if ( ! isset( WC()->countries->get_countries()[ $country ] ) ) {
			throw new Mistake( "WooCommerce knows no country “{$country}”: give the store another." );
		}
		Progress::whenever( 'place', "{$currency} {$country}", static fn () => self::place( $currency, $country ) );
		Progress::once( 'selling', [ self::class, 'selling' ] );
		Progress::once( 'delivery', [ self::class, 'delivery' ] );
	}

	private static function place( string $currency, string $country ): void {
		update_option( 'woocommerce_currency', $currency );
		update_option( 'woocommerce_default_country', $country );
		$behind = in_array( $country, [ 'AT', 'BE', 'BG', 'CZ', 'DE', 'DK', 'EE', 'ES', 'FI', 'FR', 'GR', 'HR', 'HU', 'IT', 'LT', 'LV', 'NO', 'PL', 'PT', 'RO', 'SE', 'SI', 'SK' ], true );
		update_option( 'woocommerce_currency_pos', $behind ? 'right_space' : 'left' );
		update_option( 'woocommerce_price_decimal_sep', $behind ? ',' : '.' );
		update_option( 'woocommerce_price_thousand_sep', $behind ? '.' : ',' );
		$metric = ! in_array( $country, [ 'US', 'LR', 'MM' ], true );
		update_option( 'woocommerce_weight_unit', $metric ? 'kg' : 'lbs' );
		update_option( 'woocommerce_dimension_unit', $metric ? 'cm' : 'in' );
	}

	public static function selling(): void {
		foreach (
			[
				'woocommerce_calc_taxes'                     => 'no',
				'woocommerce_allowed_countries'              => 'all',
				'woocommerce_ship_to_countries'              => '',
				'woocommerce_default_customer_address'       => 'base',
				'woocommerce_enable_guest_checkout'          => 'yes',
				'woocommerce_enable_checkout_login_reminder' => 'no',
				'woocommerce_enable_signup_and_login_from_checkout' => 'no',
				'woocommerce_enable_myaccount_registration'  => 'yes',
				// Chosen at once: a link for it would come by mail, which not every store sends.
				'woocommerce_registration_generate_password' => 'no',
				'woocommerce_enable_coupons'                 => 'yes',
				'woocommerce_enable_reviews'                 => 'no',
				'woocommerce_catalog_columns'                => '3',
				'woocommerce_thumbnail_cropping'             => '1:1',
				'woocommerce_cod_settings'                   => [
					'enabled'            => 'yes',
					'title'              => 'Cash on delivery',
					'description'        => 'Pay in cash when the parcel is handed over.',
					'instructions'       => 'Please have the amount ready when the parcel arrives.',
					'enable_for_methods' => [],
					'enable_for_virtual' => 'yes',
				],
			] as $name => $value
		) {
			update_option( $name, $value );
		}
	}

	/** In zone 0, which is everywhere and always there; one that was made before a kill is found again. */
	public static function delivery(): void {
		$zone  = new \WC_Shipping_Zone( 0 );
		$found = array_filter( $zone->get_shipping_methods(), static fn ( $method ): bool => self::DELIVERY === $method->id );
		$id    = $found ? (int) reset( $found )->get_instance_id() : (int) $zone->add_shipping_method( self::DELIVERY );
		if ( $id < 1 ) {
			throw new \RuntimeException( 'WooCommerce did not take the way of delivery' );
		}
		update_option( 'woocommerce_' . self::DELIVERY . "_{$id}_settings", [ 'title' => 'Standard delivery', 'tax_status' => 'none', 'cost' => self::PRICE ] );
		\WC_Cache_Helper::get_transient_version( 'shipping', true );
	}
}
