<?php
/**
 * WooCommerce's part of the set-up: tables, roles, pages, and the table updates of a newer release.
 */

declare(strict_types=1);

namespace Storefleet;

final class WooCommerceSetup {
	/** A step of an update is repeated as long as it returns true; one that never stops is broken. */
	private const STEP_RUNS_MAX = 10_000;

	/** Bring tables, roles and schedules to this version of the plugin, if they are older. */
	public static function update_version(): void {
		if ( ! function_exists( 'WC' ) || ! class_exists( 'WC_Install' ) ) {
			throw new ReleaseError(
				'This image lacks the plugin WooCommerce, or the plugin does not start. Use another version.'
			);
		}
		$previous = (string) get_option( 'woocommerce_version', '' );
		if ( '' !== $previous && version_compare( $previous, WC()->version, '>=' ) ) {
			return;
		}
		self::release_install_lock();
		if ( '' === $previous ) {
			\WC_Install::install();
		} else {
			self::keep_as_existing_store( [ \WC_Install::class, 'install' ] );
		}
		if ( (string) get_option( 'woocommerce_version', '' ) !== WC()->version ) {
			throw new ReleaseError( 'WooCommerce cannot be installed.' );
		}
		if ( '' !== $previous ) {
			do_action( 'woocommerce_updated' );
		}
		$note = '' === $previous ? '' : ", replacing {$previous}";
		log_line( 'setup', sprintf( 'WooCommerce %s is installed%s', WC()->version, $note ) );
	}

	/** Apply the settings of a new store, once. */
	public static function make_new_store(): void {
		Progress::run_once( 'woocommerce', [ self::class, 'apply_initial_settings' ] );
	}

	/**
	 * WooCommerce treats a store without a shop page and without products as new, and would reset
	 * settings and redirect its owner to the onboarding. For the call, name a page.
	 */
	private static function keep_as_existing_store( callable $work ): void {
		$name = static fn ( $page ) => $page ?: PHP_INT_MAX;
		add_filter( 'woocommerce_get_shop_page_id', $name, PHP_INT_MAX );
		try {
			$work();
		} finally {
			remove_filter( 'woocommerce_get_shop_page_id', $name, PHP_INT_MAX );
		}
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
			throw new ReleaseError( 'An update of WooCommerce does not end.' );
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
