<?php
/** The differences between the revisions of this theme. */

return [
	'number' => 2,
	'banner' => 'Returns are free within thirty days.',
	'lead'   => 'A small range of well-made products, delivered to your door. Pay when they arrive.',
];
