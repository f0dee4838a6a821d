<?php
/**
 * GET /storefleet/mail: the platform reads the outbox with the store's mail key. Without the key,
 * the paths do not exist.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class OutboxApi {
	private const PATH          = '/storefleet/mail';
	private const LIMIT_DEFAULT = 50;
	private const LIMIT_MAX     = 100;

	/**
	 * Answer a request of the platform and end it; return if the request is another one.
	 *
	 * @param array<string, mixed> $server
	 * @param array<string, mixed> $query
	 */
	public static function handle( Configuration $store, array $server, array $query ): void {
		$path  = (string) parse_url( 'http://store' . ( $server['REQUEST_URI'] ?? '' ), PHP_URL_PATH );
		$found = [];
		if ( 1 !== preg_match( '~^' . self::PATH . '(?:/([0-9]{1,19}))?$~D', $path, $found ) ) {
			return;
		}
		if ( 'GET' !== ( $server['REQUEST_METHOD'] ?? '' ) || ! self::is_authorized( $store ) ) {
			self::hide_path();
			return;
		}
		try {
			$answer = isset( $found[1] ) ? Outbox::find_mail( self::read_number( $found[1] ) ?? 0 ) : self::list_mails( $query );
		} catch ( \RuntimeException $error ) {
			error_log( $error->getMessage() );
			self::send( 503, [ 'error' => 'The outbox cannot be read now. Try again later.' ] );
		}
		self::send( null === $answer ? 404 : 200, $answer ?? [ 'error' => 'There is no mail of this id.' ] );
	}

	/**
	 * @param array<string, mixed> $query
	 * @return array{data: list<array<string, mixed>>, has_more: bool}
	 */
	private static function list_mails( array $query ): array {
		$limit  = self::read_number( $query['limit'] ?? null ) ?? self::LIMIT_DEFAULT;
		$limit  = max( 1, min( self::LIMIT_MAX, $limit ) );
		$before = self::read_number( $query['before'] ?? null );
		$mails  = Outbox::list_mails( $limit, $before );
		return [ 'data' => array_slice( $mails, 0, $limit ), 'has_more' => count( $mails ) > $limit ];
	}

	/** A number beyond the range of integers becomes the greatest integer. */
	private static function read_number( mixed $value ): ?int {
		return is_string( $value ) && 1 === preg_match( '/^[0-9]{1,19}$/D', $value ) ? (int) $value : null;
	}

	private static function is_authorized( Configuration $store ): bool {
		$file = $store->get_optional( 'mail_key_file', '' );
		$key  = '' !== $file && is_readable( $file ) ? trim( (string) file_get_contents( $file, false, null, 0, 4096 ) ) : '';
		// Apache's module passes this header to getallheaders() only.
		$headers = function_exists( 'getallheaders' ) ? array_change_key_case( getallheaders() ) : [];
		$given   = (string) ( $headers['authorization'] ?? '' );
		return '' !== $key && hash_equals( "Bearer {$key}", $given );
	}

	/** Show the store's own “not found” page, whatever pages and products the owner has. */
	private static function hide_path(): void {
		add_filter( 'redirect_canonical', '__return_false' );
		add_action(
			'parse_request',
			static function ( \WP $wordpress ): void {
				$wordpress->query_vars = [ 'error' => '404' ];
			},
			PHP_INT_MAX
		);
	}

	/** @param array<string, mixed> $answer */
	private static function send( int $status, array $answer ): never {
		if ( function_exists( 'apache_setenv' ) ) {
			apache_setenv( 'no-gzip', '1' );
		}
		http_response_code( $status );
		header( 'Content-Type: application/json; charset=utf-8' );
		header( 'Cache-Control: no-store' );
		echo json_encode(
			$answer, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE
		);
		exit;
	}
}
