<?php
/** Configure the store: currency, country, flat-rate delivery, cash on delivery, guest checkout. */

declare(strict_types=1);

namespace Storefleet;

final class StoreSettings {
	private const DELIVERY_METHOD = 'flat_rate';
	private const DELIVERY_PRICE  = '5';
	private const COUNTRIES_WITH_CURRENCY_BEHIND = [
		...[ 'AT', 'BE', 'BG', 'CZ', 'DE', 'DK', 'EE', 'ES', 'FI', 'FR', 'GR', 'HR' ],
		...[ 'HU', 'IT', 'LT', 'LV', 'NO', 'PL', 'PT', 'RO', 'SE', 'SI', 'SK' ],
	];
	private const COUNTRIES_WITH_IMPERIAL_UNITS = [ 'US', 'LR', 'MM' ];

	public static function apply( Configuration $store ): void {
		$currency = $store->get_optional( 'parameters.currency', 'USD' );
		$country  = $store->get_optional( 'parameters.country', 'US' );
		if ( ! isset( get_woocommerce_currencies()[ $currency ] ) ) {
			throw new PermanentError(
				"WooCommerce does not support the currency “{$currency}”. Choose another for the store."
			);
		}
		if ( ! isset( WC()->countries->get_countries()[ $country ] ) ) {
			throw new PermanentError(
				"WooCommerce does not support the country “{$country}”. Choose another for the store."
			);
		}
		$location = "{$currency} {$country}";
		Progress::run_on_change(
			'place', $location, static fn () => self::apply_location( $currency, $country )
		);
		Progress::run_once( 'selling', [ self::class, 'apply_sales_settings' ] );
		Progress::run_once( 'delivery', [ self::class, 'apply_delivery' ] );
	}

	private static function apply_location( string $currency, string $country ): void {
		update_option( 'woocommerce_currency', $currency );
		update_option( 'woocommerce_default_country', $country );
		$behind = in_array( $country, self::COUNTRIES_WITH_CURRENCY_BEHIND, true );
		update_option( 'woocommerce_currency_pos', $behind ? 'right_space' : 'left' );
		update_option( 'woocommerce_price_decimal_sep', $behind ? ',' : '.' );
		update_option( 'woocommerce_price_thousand_sep', $behind ? '.' : ',' );
		$metric = ! in_array( $country, self::COUNTRIES_WITH_IMPERIAL_UNITS, true );
		update_option( 'woocommerce_weight_unit', $metric ? 'kg' : 'lbs' );
		update_option( 'woocommerce_dimension_unit', $metric ? 'cm' : 'in' );
	}

	public static function apply_sales_settings(): void {
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
				// Customers choose the password at once: a generated one would come by mail, which not every
				// store sends.
				'woocommerce_registration_generate_password' => 'no',
				'woocommerce_enable_coupons'                 => 'yes',
				'woocommerce_enable_reviews'                 => 'no',
				'woocommerce_catalog_columns'                => '3',
				'woocommerce_thumbnail_cropping'             => '1:1',
				'woocommerce_cod_settings'                   => [
					'enabled'            => 'yes',
					'title'              => 'Cash on delivery',
					'description'        => 'Pay in cash when the parcel is delivered.',
					'instructions'       => 'Please have the amount ready when the parcel arrives.',
					'enable_for_methods' => [],
					'enable_for_virtual' => 'yes',
				],
			] as $name => $value
		) {
			update_option( $name, $value );
		}
	}

	/**
	 * Add the delivery method to zone 0, which is everywhere and always exists; find it again after a
	 * kill.
	 */
	public static function apply_delivery(): void {
		$zone  = new \WC_Shipping_Zone( 0 );
		$found = array_filter(
			$zone->get_shipping_methods(),
			static fn ( $method ): bool => self::DELIVERY_METHOD === $method->id
		);
		$id    = $found
			? (int) reset( $found )->get_instance_id()
			: (int) $zone->add_shipping_method( self::DELIVERY_METHOD );
		if ( $id < 1 ) {
			throw new \RuntimeException( 'WooCommerce did not add the delivery method.' );
		}
		update_option(
			'woocommerce_' . self::DELIVERY_METHOD . "_{$id}_settings",
			[ 'title' => 'Standard delivery', 'tax_status' => 'none', 'cost' => self::DELIVERY_PRICE ]
		);
		\WC_Cache_Helper::get_transient_version( 'shipping', true );
	}
}
