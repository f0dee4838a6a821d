<?php
/** The differences between the revisions of this theme. */

return [
	'number' => 1,
	'banner' => '',
	'lead'   => 'Everyday products, delivered to your door. Pay when they arrive.',
];
