<?php
/** At image build: code of the first order and of the first sign-in, which no visit at build can make. */

declare(strict_types=1);

namespace Storefleet;

const STOREFLEET_FOLDERS = [
	'/srv/wordpress/wp-content/plugins/woocommerce/src/StoreApi',
	'/srv/wordpress/wp-content/plugins/woocommerce/includes/emails',
	'/srv/wordpress/wp-content/plugins/woocommerce/templates/emails',
];

foreach ( STOREFLEET_FOLDERS as $storefleet_folder ) {
	if ( ! is_dir( $storefleet_folder ) ) {
		continue;
	}
	foreach ( new \RecursiveIteratorIterator( new \RecursiveDirectoryIterator( $storefleet_folder, \FilesystemIterator::SKIP_DOTS ) ) as $storefleet_file ) {
		if ( 'php' === $storefleet_file->getExtension() && ! @opcache_compile_file( $storefleet_file->getPathname() ) ) {
			say( 'compile', "{$storefleet_file} is left to its first use" );
		}
	}
}
