<?php
/**
 * Switch off what WordPress and WooCommerce would do by themselves and the platform does, or
 * nobody.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Restrictions {
	/** Parts of WooCommerce's admin that call external servers or advertise. */
	private const DISABLED_FEATURES = [
		'remote-inbox-notifications',
		'remote-free-extensions',
		'payment-gateway-suggestions',
		'shipping-label-banner',
		'wcpay-promotion',
		'wc-pay-promotion',
		'wc-pay-welcome-page',
		'woo-mobile-welcome',
		'mobile-app-banner',
	];

	public static function register_hooks(): void {
		add_filter( 'xmlrpc_enabled', '__return_false' );
		add_filter( 'action_scheduler_allow_async_request_runner', '__return_false' );
		add_filter( 'woocommerce_allow_marketplace_suggestions', '__return_false' );
		add_filter( 'woocommerce_enable_auto_update_db', '__return_false' );
		add_filter( 'woocommerce_admin_features', [ self::class, 'filter_features' ], 100 );
		add_filter( 'woocommerce_prevent_automatic_wizard_redirect', '__return_true' );
		add_filter( 'site_status_tests', [ self::class, 'filter_site_tests' ] );
		add_action( 'plugins_loaded', [ self::class, 'disable_table_updates' ], 100 );
		add_action( 'admin_init', [ self::class, 'disable_update_checks' ], 1 );
		add_action( 'init', [ self::class, 'disable_update_checks' ], 1 );
	}

	/**
	 * Prevent table updates by page views: the set-up does them once, while the old release keeps
	 * serving.
	 */
	public static function disable_table_updates(): void {
		foreach ( [ 5 => 'check_version', 20 => 'manual_database_update' ] as $priority => $method ) {
			remove_action( 'init', [ 'WC_Install', $method ], $priority );
		}
	}

	public static function disable_update_checks(): void {
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
	public static function filter_features( array $features ): array {
		return array_values( array_diff( $features, self::DISABLED_FEATURES ) );
	}

	/**
	 * @param array<string, mixed> $tests
	 * @return array<string, mixed>
	 */
	public static function filter_site_tests( array $tests ): array {
		foreach ( [ 'dotorg_communication', 'background_updates' ] as $name ) {
			unset( $tests['async'][ $name ] );
		}
		foreach ( [ 'plugin_theme_auto_updates', 'update_temp_backup_writable' ] as $name ) {
			unset( $tests['direct'][ $name ] );
		}
		return $tests;
	}
}
