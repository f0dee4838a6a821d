<?php
/** The shop's promises, beside the welcome. */

$storefleet_promises = [
	'Pay on delivery'  => 'Nothing is charged before your parcel arrives.',
	'One flat rate'    => 'Delivery costs the same for every order.',
	'No account needed' => 'You can order as a guest.',
];
?>
<ul class="promises">
	<?php foreach ( $storefleet_promises as $storefleet_promise => $storefleet_text ) : ?>
	<li>
		<strong><?php echo esc_html( $storefleet_promise ); ?></strong>
		<span><?php echo esc_html( $storefleet_text ); ?></span>
	</li>
	<?php endforeach; ?>
</ul>
