<?php
/** The header of every page. */

namespace Storefleet\Theme;

?><!doctype html>
<html <?php language_attributes(); ?>>
<head>
<meta charset="<?php bloginfo( 'charset' ); ?>">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" type="image/svg+xml" href="<?php echo esc_url( get_theme_file_uri( 'assets/icon.svg' ) ); ?>">
<?php wp_head(); ?>
</head>
<body <?php body_class(); ?>>
<?php wp_body_open(); ?>
<a class="skip" href="#content">Skip to content</a>
<?php if ( '' !== get_revision()['banner'] ) : ?>
<p class="banner"><?php echo esc_html( get_revision()['banner'] ); ?></p>
<?php endif; ?>
<header class="top">
	<div class="wrap top-row">
		<a class="brand" href="<?php echo esc_url( home_url( '/' ) ); ?>"><?php bloginfo( 'name' ); ?></a>
		<nav class="links" aria-label="Main">
			<?php
			if ( has_nav_menu( 'primary' ) ) {
				wp_nav_menu( [ 'theme_location' => 'primary', 'container' => false, 'depth' => 1 ] );
			} else {
				foreach ( list_links() as $storefleet_text => $storefleet_address ) {
					printf( '<a href="%s">%s</a>', esc_url( $storefleet_address ), esc_html( $storefleet_text ) );
				}
			}
			?>
		</nav>
		<?php if ( function_exists( 'wc_get_cart_url' ) ) : ?>
		<a class="cart-link" href="<?php echo esc_url( wc_get_cart_url() ); ?>">
			<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none"
				stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><path d="M6 8h12l-1 12H7L6 8Z"/><path d="M9 10V7a3 3 0 0 1 6 0v3"/></svg>
			<span class="cart-word">Cart</span> <?php echo render_cart_count(); // phpcs:ignore -- it contains numbers only. ?>
		</a>
		<?php endif; ?>
	</div>
</header>
