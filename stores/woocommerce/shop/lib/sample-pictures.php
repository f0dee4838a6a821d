<?php
/** Copy the pictures of the sample products from the image to the volume of uploads. */

declare(strict_types=1);

namespace Storefleet;

final class SamplePictures {
	private const SOURCE    = '/opt/storefleet/template/uploads';
	private const UPLOADS   = '/srv/wordpress/wp-content/uploads';
	private const MARK_FILE = '/.storefleet-goods';

	/** Copy once per volume; pictures that the owner deletes later stay deleted. */
	public static function copy_once(): void {
		if ( is_file( self::UPLOADS . self::MARK_FILE ) || ! is_dir( self::SOURCE ) ) {
			return;
		}
		run_program( [ 'cp', '-R', '--no-preserve=all', self::SOURCE . '/.', self::UPLOADS ] );
		if ( ! touch( self::UPLOADS . self::MARK_FILE ) ) {
			throw new \RuntimeException( 'The folder of uploads is not writable.' );
		}
	}
}
