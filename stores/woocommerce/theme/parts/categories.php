<?php
/** Links to the categories with products. */

$storefleet_query = [ 'taxonomy' => 'product_cat', 'hide_empty' => true, 'parent' => 0, 'number' => 8 ];
$storefleet_terms = taxonomy_exists( 'product_cat' ) ? get_terms( $storefleet_query ) : [];
if ( is_wp_error( $storefleet_terms ) || [] === $storefleet_terms ) {
	return;
}
?>
<nav class="chips" aria-label="Categories">
	<?php foreach ( $storefleet_terms as $storefleet_term ) : ?>
	<a href="<?php echo esc_url( get_term_link( $storefleet_term ) ); ?>">
		<?php echo esc_html( $storefleet_term->name ); ?>
	</a>
	<?php endforeach; ?>
</nav>
