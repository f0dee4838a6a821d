<?php
/**
 * During the image build: build the template that every store starts from, in the folder
 * STORE_BAKE_FOLDER. It contains MariaDB's data with WordPress, WooCommerce and the sample
 * products, their pictures, and the compiled code of the pages that are requested first.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/database-server.php';
require __DIR__ . '/../lib/setup-mode.php';
require __DIR__ . '/../lib/template-text.php';
require __DIR__ . '/../lib/template-traces.php';
require __DIR__ . '/../lib/template-builder.php';

$storefleet_folder = getenv( 'STORE_BAKE_FOLDER' )
	?: throw new PermanentError( 'STORE_BAKE_FOLDER is not set.' );
( new TemplateBuilder( $storefleet_folder ) )->build();
