<?php
/** The page for URLs that do not exist. */

get_header();
?>
<main id="content" class="wrap page-main">
	<h1 class="page-title">Page not found</h1>
	<p>The page may have moved, or the address is mistyped.</p>
	<p><a class="button" href="<?php echo esc_url( home_url( '/' ) ); ?>">To the home page</a></p>
</main>
<?php
get_footer();
