<?php
/** Copy the pictures of the sample products, then become the web server. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/sample-pictures.php';
require __DIR__ . '/../lib/request-limits.php';

SamplePictures::copy_once();
RequestLimits::export();
// The rows of a decoded picture are returned to the system, instead of staying with the worker.
putenv( 'MALLOC_MMAP_THRESHOLD_=8192' );
pcntl_exec(
	'/usr/sbin/apache2', [ '-f', '/opt/storefleet/shop/etc/apache.conf', '-D', 'FOREGROUND' ]
);
throw new \RuntimeException( 'The web server cannot be started.' );
