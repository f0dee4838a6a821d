<?php
/** What differs between the revisions of this theme. */

return [
	'number' => 1,
	'banner' => '',
	'lead'   => 'Things made to be used every day, sent to your door and paid for when they arrive.',
];
