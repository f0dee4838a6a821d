<?php
/**
 * At image build: the shop that every store begins with. MariaDB's data with WordPress, WooCommerce and the sample
 * goods, their pictures, and the compiled code of the pages that are asked for first; all in the folder STORE_BAKE_FOLDER.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/server.php';
require __DIR__ . '/../lib/bakery.php';

$storefleet_bakery = new Bakery( getenv( 'STORE_BAKE_FOLDER' ) ?: throw new Mistake( 'STORE_BAKE_FOLDER names no folder.' ) );
$storefleet_bakery->bake();
