<?php
/**
 * Pages and REST routes of the admin that work only with the internet or with code that an owner
 * installs: the marketplace, patterns and fonts of WordPress.org, the mobile app, checks of updates.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class AdminPages {
	private const MARKETPLACE = [ 'wc-addons', 'wc-admin&path=/extensions' ];
	private const REST_ROUTES = '~^/(wp/v2/pattern-directory/|wc/v[0-9]+/marketplace/'
		. '|wc-admin/mobile-app|wp-site-health/v1/tests/(background-updates|dotorg-communication))~';

	public static function register_hooks(): void {
		add_action( 'admin_menu', [ self::class, 'remove_menu_entries' ], PHP_INT_MAX );
		add_action( 'admin_page_access_denied', [ self::class, 'explain_missing_page' ], 1 );
		add_action( 'admin_init', [ self::class, 'explain_missing_page' ], 1 );
		add_filter( 'rest_endpoints', [ self::class, 'filter_routes' ], PHP_INT_MAX );
		add_action( 'init', [ self::class, 'remove_fonts' ], PHP_INT_MAX );
		add_filter( 'should_load_remote_block_patterns', '__return_false' );
	}

	public static function remove_menu_entries(): void {
		foreach ( self::MARKETPLACE as $page ) {
			remove_submenu_page( 'woocommerce', $page );
		}
	}

	/** Remove the collection of fonts that WordPress downloads; fonts can be uploaded. */
	public static function remove_fonts(): void {
		if ( function_exists( 'wp_unregister_font_collection' )
			&& null !== \WP_Font_Library::get_instance()->get_font_collection( 'google-fonts' ) ) {
			wp_unregister_font_collection( 'google-fonts' );
		}
	}

	public static function explain_missing_page(): void {
		if ( 'widgets.php' === ( $GLOBALS['pagenow'] ?? '' ) && ! current_theme_supports( 'widgets' ) ) {
			wp_die(
				'The theme of this store has no areas for widgets. Use pages and menus instead.',
				'Widgets',
				[ 'response' => 404, 'back_link' => true ]
			);
		}
		$page = (string) ( $_GET['page'] ?? '' );
		$path = (string) ( $_GET['path'] ?? '' );
		if ( 'wc-addons' === $page || ( 'wc-admin' === $page && str_starts_with( $path, '/extensions' ) ) ) {
			wp_die(
				'The platform manages the plugins and themes of this store. None can be added here.',
				'Extensions',
				[ 'response' => 403, 'back_link' => true ]
			);
		}
	}

	/**
	 * @param array<string, mixed> $routes
	 * @return array<string, mixed>
	 */
	public static function filter_routes( array $routes ): array {
		return array_filter(
			$routes,
			static fn ( $route ): bool => 1 !== preg_match( self::REST_ROUTES, (string) $route ),
			ARRAY_FILTER_USE_KEY
		);
	}
}
