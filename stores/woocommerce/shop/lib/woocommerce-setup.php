<?php
/**
 * WooCommerce's part of the set-up: tables, roles, pages, and the table updates of a newer release.
 */

declare(strict_types=1);

namespace Storefleet;

final class WooCommerceSetup {
	/** A step of an update is repeated as long as it returns true; one that never stops is broken. */
	private const STEP_RUNS_MAX = 10_000;

	public static function install(): void {
		if ( ! function_exists( 'WC' ) || ! class_exists( 'WC_Install' ) ) {
			throw new PermanentError(
				'WooCommerce is not active in this store. Activate it, or restore the store.'
			);
		}
		$previous = (string) get_option( 'woocommerce_version', '' );
		if ( '' === $previous || version_compare( $previous, WC()->version, '<' ) ) {
			self::release_install_lock();
			\WC_Install::install();
			if ( (string) get_option( 'woocommerce_version', '' ) !== WC()->version ) {
				throw new \RuntimeException( 'WooCommerce cannot be installed.' );
			}
			if ( '' !== $previous ) {
				do_action( 'woocommerce_updated' );
			}
			$note = '' === $previous ? '' : ", replacing {$previous}";
			log_line( 'setup', sprintf( 'WooCommerce %s is installed%s', WC()->version, $note ) );
		}
		Progress::run_once( 'woocommerce', [ self::class, 'apply_initial_settings' ] );
	}

	/** Run WooCommerce's table updates now; WooCommerce itself would put them into a queue. */
	public static function update_tables(): void {
		$previous = get_option( 'woocommerce_db_version', null );
		if ( null === $previous || version_compare( (string) $previous, WC()->version, '>=' ) ) {
			return;
		}
		include_once WC_ABSPATH . 'includes/wc-update-functions.php';
		foreach ( \WC_Install::get_db_update_callbacks() as $version => $steps ) {
			if ( version_compare( (string) $previous, (string) $version, '<' ) ) {
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
		for ( $run = 0; is_callable( $step ) && $run < self::STEP_RUNS_MAX; ++$run ) {
			if ( ! $step() ) {
				return;
			}
		}
		if ( is_callable( $step ) ) {
			throw new \RuntimeException( 'An update of WooCommerce does not end.' );
		}
	}

	/** Apply the settings of a new store once: pages, order tables, no onboarding. */
	public static function apply_initial_settings(): void {
		if ( is_callable( [ 'WC_Install', 'newly_installed' ] ) ) {
			\WC_Install::newly_installed();
		}
		\WC_Install::create_pages();
		self::enable_order_tables();
		foreach (
			[
				'woocommerce_coming_soon'        => 'no',
				'woocommerce_store_pages_only'   => 'no',
				'woocommerce_allow_tracking'     => 'no',
				'woocommerce_onboarding_profile' => [ 'completed' => true, 'skipped' => true ],
				'woocommerce_task_list_hidden'   => 'yes',
				'woocommerce_extended_task_list_hidden' => 'yes',
				'woocommerce_task_list_hidden_lists'    => [
					...[ 'setup', 'extended', 'extended_two_column', 'setup_two_column' ],
				],
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

	private static function enable_order_tables(): void {
		$orders = '\Automattic\WooCommerce\Utilities\OrderUtil';
		if ( ! $orders::custom_orders_table_usage_is_enabled() ) {
			$features = wc_get_container()->get( '\Automattic\WooCommerce\Internal\Features\FeaturesController' );
			$features->change_feature_enable( 'custom_order_tables', true );
			update_option( 'woocommerce_custom_orders_table_enabled', 'yes' );
		}
		update_option( 'woocommerce_custom_orders_table_data_sync_enabled', 'no' );
	}

	/** Release WooCommerce's own lock: our lock is held, so its owner was a set-up that was killed. */
	private static function release_install_lock(): void {
		global $wpdb;
		delete_transient( 'wc_installing' );
		$wpdb->delete( $wpdb->options, [ 'option_name' => 'wc_installing' ] );
		wp_cache_delete( 'wc_installing', 'options' );
	}
}
