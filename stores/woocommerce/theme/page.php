<?php
/** A page of text, or one of WooCommerce's pages. */

get_header();
?>
<main id="content" class="wrap page-main">
	<?php
	while ( have_posts() ) :
		the_post();
		?>
	<article <?php post_class(); ?>>
		<h1 class="page-title"><?php the_title(); ?></h1>
		<div class="page-text"><?php the_content(); ?></div>
	</article>
	<?php endwhile; ?>
</main>
<?php
get_footer();
