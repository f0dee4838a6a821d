<?php
/** Set the theme up: features, style sheets, and changes to WooCommerce's pages. */

declare(strict_types=1);

namespace Storefleet\Theme;

defined( 'ABSPATH' ) || exit;

/** @return array{number: int, banner: string, lead: string} */
function get_revision(): array {
	static $revision = null;
	return $revision ??= require __DIR__ . '/revision.php';
}

add_action(
	'after_setup_theme',
	static function (): void {
		$features = [
			...[ 'title-tag', 'post-thumbnails', 'automatic-feed-links' ],
			...[ 'responsive-embeds', 'align-wide' ],
		];
		foreach ( $features as $feature ) {
			add_theme_support( $feature );
		}
		add_theme_support( 'html5', [ 'search-form', 'gallery', 'caption', 'style', 'script', 'navigation-widgets' ] );
		add_theme_support(
			'woocommerce',
			[
				'thumbnail_image_width' => 480,
				'single_image_width'    => 800,
				'product_grid'          => [
					'default_columns' => 3,
					'default_rows'    => 4,
					'min_columns'     => 1,
					'max_columns'     => 4,
				],
			]
		);
		register_nav_menus( [ 'primary' => 'Header of every page' ] );
	}
);

add_action(
	'wp_enqueue_scripts',
	static function (): void {
		$version = wp_get_theme()->get( 'Version' ) . '-' . get_revision()['number'];
		wp_enqueue_style( 'storefleet', get_theme_file_uri( 'assets/shop.css' ), [], $version );
		wp_enqueue_style(
			'storefleet-woocommerce',
			get_theme_file_uri( 'assets/woocommerce.css' ),
			[ 'storefleet' ],
			$version
		);
		wp_enqueue_style(
			'storefleet-revision',
			get_theme_file_uri( 'assets/revision.css' ),
			[ 'storefleet' ],
			$version
		);
	},
	20
);

// The theme has its own styles for WooCommerce's pages, so the plugin's are not loaded.
add_filter( 'woocommerce_enqueue_styles', '__return_empty_array' );
remove_action( 'wp_head', 'print_emoji_detection_script', 7 );
remove_action( 'wp_print_styles', 'print_emoji_styles' );
remove_action( 'wp_head', 'wp_generator' );

remove_action( 'woocommerce_before_main_content', 'woocommerce_output_content_wrapper', 10 );
remove_action( 'woocommerce_after_main_content', 'woocommerce_output_content_wrapper_end', 10 );
remove_action( 'woocommerce_sidebar', 'woocommerce_get_sidebar', 10 );
add_action(
	'woocommerce_before_main_content',
	static fn () => print '<main id="content" class="wrap shop-main">',
	10
);
add_action( 'woocommerce_after_main_content', static fn () => print '</main>', 10 );

// An owner who chooses a page or the blog as the front page gets that instead of our welcome.
add_filter(
	'frontpage_template',
	static fn ( string $template ): string => 'page' === get_option( 'show_on_front' ) ? '' : $template
);
add_filter(
	'woocommerce_output_related_products_args',
	static fn ( array $args ): array => [ 'posts_per_page' => 3, 'columns' => 3 ] + $args
);
add_filter(
	'body_class',
	static fn ( array $classes ): array => [ ...$classes, 'revision-' . get_revision()['number'] ]
);

/**
 * Render the number of items in the cart for the header; WooCommerce refreshes it after each
 * addition.
 */
function render_cart_count(): string {
	$cart  = function_exists( 'WC' ) ? WC()->cart : null;
	$count = $cart ? (int) $cart->get_cart_contents_count() : 0;
	$class = $count ? 'cart-count' : 'cart-count is-empty';
	$label = esc_attr( sprintf( '%d items in the cart', $count ) );
	return "<span class=\"{$class}\" aria-label=\"{$label}\">{$count}</span>";
}

add_filter(
	'woocommerce_add_to_cart_fragments',
	static fn ( array $fragments ): array => [ '.cart-count' => render_cart_count() ] + $fragments
);

/** @return array<string, string> URLs by link text */
function list_links(): array {
	if ( ! function_exists( 'wc_get_page_permalink' ) ) {
		return [];
	}
	return [ 'Shop' => wc_get_page_permalink( 'shop' ), 'Account' => wc_get_page_permalink( 'myaccount' ) ];
}
