<?php
/**
 * Explain why a file cannot be uploaded: it exceeds the plan's limit, or it is a picture that needs
 * more memory than the store has to make its sizes. Such a picture would end the web server.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Uploads {
	/** Memory of a decoded picture; other formats than JPEG need a second copy while they are read. */
	private const JPEG_BYTES_PER_PIXEL = 5;
	private const BYTES_PER_PIXEL      = 9;
	/** Larger pictures are processed one at a time; editors upload all pictures of a gallery at once. */
	private const SMALL_PIXELS = 2_000_000;
	private const WAIT_S       = 30;

	public static function register_hooks(): void {
		add_filter( 'wp_handle_upload_prefilter', [ self::class, 'explain_error' ] );
		add_filter( 'wp_handle_sideload_prefilter', [ self::class, 'explain_error' ] );
	}

	/**
	 * @param mixed $file
	 * @return mixed
	 */
	public static function explain_error( $file ) {
		if ( ! is_array( $file ) ) {
			return $file;
		}
		$error = $file['error'] ?? UPLOAD_ERR_OK;
		$name  = (string) ( $file['name'] ?? '' );
		$path  = (string) ( $file['tmp_name'] ?? '' );
		// PHP does not limit a file that is the whole body of a request to the REST API.
		$is_too_large = in_array( $error, [ UPLOAD_ERR_INI_SIZE, UPLOAD_ERR_FORM_SIZE ], true )
			|| ( is_file( $path ) && filesize( $path ) > wp_max_upload_size() );
		if ( $is_too_large ) {
			/* translators: %s: File name. */
			$message       = sprintf( __( '%s exceeds the maximum upload size for this site.' ), $name );
			$file['error'] = $message . ' ' . sprintf( __( 'Maximum upload file size: %s.' ), size_format( wp_max_upload_size() ) );
		} elseif ( UPLOAD_ERR_OK === $error && is_readable( $path ) ) {
			$file['error'] = self::explain_picture( $path, $name ) ?? $error;
		}
		return $file;
	}

	private static function explain_picture( string $path, string $name ): ?string {
		$size   = wp_getimagesize( $path );
		$pixels = is_array( $size ) ? $size[0] * $size[1] : 0;
		$bytes  = is_array( $size ) && IMAGETYPE_JPEG === $size[2] ? self::JPEG_BYTES_PER_PIXEL : self::BYTES_PER_PIXEL;
		$most   = intdiv( self::get_memory_bytes(), $bytes );
		if ( $pixels <= self::SMALL_PIXELS || ( $pixels <= $most && self::wait_for_turn() ) ) {
			return null;
		}
		if ( $pixels <= $most ) {
			return "{$name} cannot be processed now, because other pictures are. Upload it again in a minute.";
		}
		return sprintf(
			'%s has %d megapixels, more than this store can process (%d). Make the picture smaller and upload it again.',
			$name,
			(int) ceil( $pixels / 1_000_000 ),
			intdiv( $most, 1_000_000 )
		);
	}

	/** Lock the processing of pictures until this request ends. */
	private static function wait_for_turn(): bool {
		global $wpdb;
		return '1' === $wpdb->get_var(
			$wpdb->prepare( 'SELECT GET_LOCK(%s, %d)', 'storefleet_picture', self::WAIT_S )
		);
	}

	private static function get_memory_bytes(): int {
		return wp_convert_hr_to_bytes( WP_MAX_MEMORY_LIMIT );
	}
}
