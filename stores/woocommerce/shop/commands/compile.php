<?php
/**
 * During the image build: compile the code of a first order and sign-in, which no page request
 * covers.
 */

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
	$storefleet_entries = new \RecursiveDirectoryIterator( $storefleet_folder, \FilesystemIterator::SKIP_DOTS );
	foreach ( new \RecursiveIteratorIterator( $storefleet_entries ) as $storefleet_file ) {
		if ( 'php' !== $storefleet_file->getExtension() ) {
			continue;
		}
		if ( ! @opcache_compile_file( $storefleet_file->getPathname() ) ) {
			log_line(
				'compile', "{$storefleet_file} cannot be compiled now; PHP compiles it at its first use."
			);
		}
	}
}
