<?php
/** The web server; before it listens, the pictures of the sample goods are in their place. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/pictures.php';

Pictures::lay_out();
pcntl_exec( '/usr/sbin/apache2', [ '-f', '/opt/storefleet/shop/etc/apache.conf', '-D', 'FOREGROUND' ] );
throw new \RuntimeException( 'the web server cannot be started' );
