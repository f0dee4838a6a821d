<?php
/** What the shop promises, beside the welcome. */

$storefleet_promises = [
	'Pay on delivery'  => 'Nothing is charged before the parcel is in your hands.',
	'One flat rate'    => 'Delivery costs the same, whatever you order.',
	'No account needed' => 'An address is enough.',
];
?>
<ul class="promises">
	<?php foreach ( $storefleet_promises as $storefleet_promise => $storefleet_meaning ) : ?>
	<li><strong><?php echo esc_html( $storefleet_promise ); ?></strong><span><?php echo esc_html( $storefleet_meaning ); ?></span></li>
	<?php endforeach; ?>
</ul>
