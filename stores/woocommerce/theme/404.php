<?php
/** A page that is not there. */

get_header();
?>
<main id="content" class="wrap page-main">
	<h1 class="page-title">This page is not here</h1>
	<p>It may have moved, or the address has a slip in it.</p>
	<p><a class="button" href="<?php echo esc_url( home_url( '/' ) ); ?>">To the home page</a></p>
</main>
<?php
get_footer();
