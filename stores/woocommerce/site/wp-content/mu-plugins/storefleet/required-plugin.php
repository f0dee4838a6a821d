<?php
/** WooCommerce, the plugin that makes a WordPress a store; its owner may deactivate it. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class RequiredPlugin {
	public const FILE = 'woocommerce/woocommerce.php';

	/** @var mixed the option as stored, while the set-up reads it with WooCommerce added */
	private static mixed $stored = null;

	/** Report whether the owner has WooCommerce active. */
	public static function is_active(): bool {
		$active = (array) get_option( 'active_plugins', [] );
		return in_array( self::FILE, null === self::$stored ? $active : (array) self::$stored, true );
	}

	public static function is_loaded(): bool {
		return function_exists( 'WC' ) && did_action( 'woocommerce_loaded' ) > 0;
	}

	/**
	 * Load WooCommerce in the set-up's process although its owner has deactivated it, so that its
	 * tables fit the release when it is activated again; the option itself is not changed.
	 */
	public static function load_in_setup(): void {
		add_filter(
			'option_active_plugins',
			static function ( $active ): array {
				self::$stored = $active;
				return array_values( array_unique( [ ...(array) $active, self::FILE ] ) );
			},
			PHP_INT_MAX
		);
		add_filter( 'pre_update_option_active_plugins', static fn ( $_new, $old ) => $old, PHP_INT_MAX, 2 );
	}
}
