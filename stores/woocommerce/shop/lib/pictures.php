<?php
/** The pictures of the sample goods, from the image into the volume of uploads. */

declare(strict_types=1);

namespace Storefleet;

final class Pictures {
	private const PICTURES = '/opt/storefleet/template/uploads';
	private const UPLOADS  = '/srv/wordpress/wp-content/uploads';
	private const SIGN     = '/.storefleet-goods';

	/** Once for a volume; what the owner deletes afterwards stays deleted. */
	public static function lay_out(): void {
		if ( is_file( self::UPLOADS . self::SIGN ) || ! is_dir( self::PICTURES ) ) {
			return;
		}
		run( [ 'cp', '-R', '--no-preserve=all', self::PICTURES . '/.', self::UPLOADS ] );
		if ( ! touch( self::UPLOADS . self::SIGN ) ) {
			throw new \RuntimeException( 'the folder of uploads cannot be written to' );
		}
	}
}
