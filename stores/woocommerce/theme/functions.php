<?php
/** The theme's wiring: what it supports, what it loads, and where it changes the shop's own pages. */

declare(strict_types=1);

namespace Storefleet\Theme;

defined( 'ABSPATH' ) || exit;

/** @return array{number: int, banner: string, lead: string} */
function revision(): array {
	static $revision = null;
	return $revision ??= require __DIR__ . '/revision.php';
}

add_action(
	'after_setup_theme',
	static function (): void {
		foreach ( [ 'title-tag', 'post-thumbnails', 'automatic-feed-links', 'responsive-embeds', 'align-wide' ] as $feature ) {
			add_theme_support( $feature );
		}
		add_theme_support( 'html5', [ 'search-form', 'gallery', 'caption', 'style', 'script', 'navigation-widgets' ] );
		add_theme_support(
			'woocommerce',
			[
				'thumbnail_image_width' => 480,
				'single_image_width'    => 800,
				'product_grid'          => [ 'default_columns' => 3, 'default_rows' => 4, 'min_columns' => 1, 'max_columns' => 4 ],
			]
		);
		register_nav_menus( [ 'primary' => 'At the top of every page' ] );
	}
);

add_action(
	'wp_enqueue_scripts',
	static function (): void {
		$version = wp_get_theme()->get( 'Version' ) . '-' . revision()['number'];
		wp_enqueue_style( 'storefleet', get_theme_file_uri( 'assets/shop.css' ), [], $version );
		wp_enqueue_style( 'storefleet-woocommerce', get_theme_file_uri( 'assets/woocommerce.css' ), [ 'storefleet' ], $version );
		wp_enqueue_style( 'storefleet-revision', get_theme_file_uri( 'assets/revision.css' ), [ 'storefleet' ], $version );
	},
	20
);

// The theme styles the shop's pages itself; nothing of what the plugin brings for that has to be undone.
add_filter( 'woocommerce_enqueue_styles', '__return_empty_array' );
remove_action( 'wp_head', 'print_emoji_detection_script', 7 );
remove_action( 'wp_print_styles', 'print_emoji_styles' );
remove_action( 'wp_head', 'wp_generator' );

remove_action( 'woocommerce_before_main_content', 'woocommerce_output_content_wrapper', 10 );
remove_action( 'woocommerce_after_main_content', 'woocommerce_output_content_wrapper_end', 10 );
remove_action( 'woocommerce_sidebar', 'woocommerce_get_sidebar', 10 );
add_action( 'woocommerce_before_main_content', static fn () => print '<main id="content" class="wrap shop-main">', 10 );
add_action( 'woocommerce_after_main_content', static fn () => print '</main>', 10 );

add_filter( 'loop_shop_columns', static fn (): int => 3 );
add_filter( 'loop_shop_per_page', static fn (): int => 12 );
add_filter( 'woocommerce_output_related_products_args', static fn ( array $args ): array => [ 'posts_per_page' => 3, 'columns' => 3 ] + $args );
add_filter( 'body_class', static fn ( array $classes ): array => [ ...$classes, 'revision-' . revision()['number'] ] );

/** How many things are in the cart, as it stands in the header; also sent along when something is put into it. */
function cart_count(): string {
	$cart  = function_exists( 'WC' ) ? WC()->cart : null;
	$count = $cart ? (int) $cart->get_cart_contents_count() : 0;
	return '<span class="cart-count' . ( $count ? '' : ' is-empty' ) . '" aria-label="' . esc_attr( sprintf( '%d in the cart', $count ) ) . '">' . $count . '</span>';
}

add_filter( 'woocommerce_add_to_cart_fragments', static fn ( array $fragments ): array => [ '.cart-count' => cart_count() ] + $fragments );

/** @return array<string, string> addresses by what is said of them */
function links(): array {
	if ( ! function_exists( 'wc_get_page_permalink' ) ) {
		return [];
	}
	return [ 'Shop' => wc_get_page_permalink( 'shop' ), 'Account' => wc_get_page_permalink( 'myaccount' ) ];
}
