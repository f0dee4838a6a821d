<?php
/** Lists of posts, and everything without a template of its own. */

get_header();
?>
<main id="content" class="wrap page-main">
	<?php if ( ! have_posts() ) : ?>
	<p>There are no posts yet.</p>
	<?php endif; ?>
	<?php
	while ( have_posts() ) :
		the_post();
		?>
	<article <?php post_class(); ?>>
		<h2 class="page-title"><a href="<?php the_permalink(); ?>"><?php the_title(); ?></a></h2>
		<div class="page-text"><?php is_singular() ? the_content() : the_excerpt(); ?></div>
	</article>
	<?php endwhile; ?>
	<?php the_posts_pagination(); ?>
</main>
<?php
get_footer();
