<?php
/** WooCommerce's part of the set-up: its tables, roles and pages, and the updates of a newer release. */

declare(strict_types=1);

namespace Storefleet;

final class Shop {
	/** A step of an update that says so is to be run again; one that never stops saying so is broken. */
	private const ROUNDS = 10_000;

	public static function install(): void {
		if ( ! function_exists( 'WC' ) || ! class_exists( 'WC_Install' ) ) {
			throw new Mistake( 'WooCommerce is not active in this shop: activate it, or restore the shop.' );
		}
		$had = (string) get_option( 'woocommerce_version', '' );
		if ( '' === $had || version_compare( $had, WC()->version, '<' ) ) {
			self::free_the_lock();
			\WC_Install::install();
			if ( (string) get_option( 'woocommerce_version', '' ) !== WC()->version ) {
				throw new \RuntimeException( 'WooCommerce could not be installed' );
			}
			if ( '' !== $had ) {
				do_action( 'woocommerce_updated' );
			}
			say( 'setup', sprintf( 'WooCommerce %s is installed%s', WC()->version, '' === $had ? '' : " over {$had}" ) );
		}
		Progress::once( 'woocommerce', [ self::class, 'begin' ] );
	}

	/** The updates of WooCommerce's tables, here and now; it would put them off to a queue. */
	public static function bring_tables_up(): void {
		$had = get_option( 'woocommerce_db_version', null );
		if ( null === $had || version_compare( (string) $had, WC()->version, '>=' ) ) {
			return;
		}
		include_once WC_ABSPATH . 'includes/wc-update-functions.php';
		foreach ( \WC_Install::get_db_update_callbacks() as $version => $steps ) {
			if ( version_compare( (string) $had, (string) $version, '<' ) ) {
				foreach ( (array) $steps as $step ) {
					self::run_step( $step );
				}
				\WC_Install::update_db_version( (string) $version );
			}
		}
		\WC_Install::update_db_version();
		if ( is_callable( [ 'WC_Install', 'remove_update_db_notice' ] ) ) {
			\WC_Install::remove_update_db_notice();
		}
	}

	private static function run_step( mixed $step ): void {
		for ( $round = 0; is_callable( $step ) && $round < self::ROUNDS; ++$round ) {
			if ( ! $step() ) {
				return;
			}
		}
		if ( is_callable( $step ) ) {
			throw new \RuntimeException( 'an update of WooCommerce does not come to its end' );
		}
	}

	/** What a new shop gets once: pages, orders in tables of their own, no questions on the first visit. */
	public static function begin(): void {
		if ( is_callable( [ 'WC_Install', 'newly_installed' ] ) ) {
			\WC_Install::newly_installed();
		}
		\WC_Install::create_pages();
		self::keep_orders_in_tables_of_their_own();
		foreach (
			[
				'woocommerce_coming_soon'        => 'no',
				'woocommerce_store_pages_only'   => 'no',
				'woocommerce_allow_tracking'     => 'no',
				'woocommerce_onboarding_profile' => [ 'completed' => true, 'skipped' => true ],
				'woocommerce_task_list_hidden'   => 'yes',
				'woocommerce_extended_task_list_hidden' => 'yes',
				'woocommerce_task_list_hidden_lists'    => [ 'setup', 'extended', 'extended_two_column', 'setup_two_column' ],
				'woocommerce_task_list_welcome_modal_dismissed' => 'yes',
				'woocommerce_show_marketplace_suggestions'      => 'no',
				'woocommerce_admin_created_default_shipping_zones' => 'yes',
				'woocommerce_admin_reviewed_default_shipping_zones' => 'yes',
				'woocommerce_task_list_prompt_shown' => '1',
			] as $name => $value
		) {
			update_option( $name, $value );
		}
		delete_transient( '_wc_activation_redirect' );
		delete_transient( '_wc_activation_redirect_wizard' );
	}

	private static function keep_orders_in_tables_of_their_own(): void {
		$orders = '\Automattic\WooCommerce\Utilities\OrderUtil';
		if ( ! $orders::custom_orders_table_usage_is_enabled() ) {
			wc_get_container()->get( '\Automattic\WooCommerce\Internal\Features\FeaturesController' )->change_feature_enable( 'custom_order_tables', true );
			update_option( 'woocommerce_custom_orders_table_enabled', 'yes' );
		}
		update_option( 'woocommerce_custom_orders_table_data_sync_enabled', 'no' );
	}

	/** Only a set-up installs, and ours is the only one: what holds WooCommerce's own lock was killed. */
	private static function free_the_lock(): void {
		global $wpdb;
		delete_transient( 'wc_installing' );
		$wpdb->delete( $wpdb->options, [ 'option_name' => 'wc_installing' ] );
		wp_cache_delete( 'wc_installing', 'options' );
	}
}
