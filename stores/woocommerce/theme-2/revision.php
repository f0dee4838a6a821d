<?php
/** What differs between the revisions of this theme. */

return [
	'number' => 2,
	'banner' => 'Thirty days to change your mind, and we pay for the way back.',
	'lead'   => 'Fewer things, better made: chosen one by one, sent to your door, paid for when they arrive.',
];
