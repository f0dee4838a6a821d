<?php
/** The footer of every page. */

?>
<footer class="foot">
	<div class="wrap foot-row">
		<strong><?php bloginfo( 'name' ); ?></strong>
		<span>Cash on delivery · Standard delivery at a flat rate · No account needed</span>
	</div>
</footer>
<?php wp_footer(); ?>
</body>
</html>
