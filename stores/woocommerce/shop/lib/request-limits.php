<?php
/** The sizes of requests, which Apache's configuration reads from the environment. */

declare(strict_types=1);

namespace Storefleet;

final class RequestLimits {
	private const UPLOAD_DEFAULT = 16_777_216;
	/** Form fields beside a file. */
	private const FIELDS = 1_048_576;
	/** Files up to this many times the limit reach WordPress, which explains the limit. */
	private const EXPLAINED = 2;

	/** Derive the limits of whole requests from that of a file, STORE_UPLOAD_MAX_BYTES. */
	public static function export(): void {
		$upload = (int) ( getenv( 'STORE_UPLOAD_MAX_BYTES' ) ?: self::UPLOAD_DEFAULT );
		if ( $upload < 1 ) {
			throw new PermanentError( 'STORE_UPLOAD_MAX_BYTES is no number of bytes. Correct the plan.' );
		}
		putenv( "STORE_UPLOAD_MAX_BYTES={$upload}" );
		putenv( 'STORE_UPLOAD_MAX_MB=' . intdiv( $upload, 1_048_576 ) );
		putenv( 'STORE_REQUEST_MAX_BYTES=' . ( $upload + self::FIELDS ) );
		putenv( 'STORE_UPLOAD_REQUEST_MAX_BYTES=' . ( self::EXPLAINED * $upload + self::FIELDS ) );
	}
}
