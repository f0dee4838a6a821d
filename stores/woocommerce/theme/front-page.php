<?php
/** The home page: welcome, categories and products. */

namespace Storefleet\Theme;

get_header();
?>
<main id="content">
	<section class="hero">
		<div class="wrap hero-row">
			<div>
				<h1>Welcome to <?php bloginfo( 'name' ); ?></h1>
				<p><?php echo esc_html( get_revision()['lead'] ); ?></p>
				<?php if ( function_exists( 'wc_get_page_permalink' ) ) : ?>
				<a class="button" href="<?php echo esc_url( wc_get_page_permalink( 'shop' ) ); ?>">Browse all products</a>
				<?php endif; ?>
			</div>
			<?php get_template_part( 'parts/promises' ); ?>
		</div>
	</section>
	<div class="wrap woocommerce">
		<?php get_template_part( 'parts/categories' ); ?>
		<?php if ( shortcode_exists( 'products' ) ) : ?>
		<h2>Our products</h2>
		<?php echo do_shortcode( '[products limit="6" columns="3" orderby="menu_order" order="ASC"]' ); ?>
		<?php endif; ?>
	</div>
</main>
<?php
get_footer();
