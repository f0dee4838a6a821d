<?php
/**
 * Requests that the store itself sends. Those to its own URL go to its own web server: its host name
 * need not resolve in the pod, and TLS ends before it. Those to other servers fail at once: the
 * network policy denies them, and WordPress would wait 10 s for a name server before it blocks them.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class OutgoingRequests {
	/** Not an IP address: WordPress's own block admits “localhost” and the store's host name only. */
	private const SERVER = 'http://localhost:8080';

	public static function register_hooks( Configuration $store ): void {
		add_filter(
			'pre_http_request',
			static fn ( $answer, $arguments, $url ) => self::answer( $store, $answer, $arguments, $url ),
			10,
			3
		);
	}

	/**
	 * @param mixed                $answer    of another filter; false if there is none
	 * @param array<string, mixed> $arguments of the request
	 */
	private static function answer( Configuration $store, $answer, array $arguments, mixed $url ): mixed {
		if ( ! is_string( $url ) ) {
			return $answer;
		}
		$parts = wp_parse_url( $url );
		$host  = strtolower( (string) ( $parts['host'] ?? '' ) );
		if ( false !== $answer || 'localhost' === $host ) {
			return $answer;
		}
		$port = isset( $parts['port'] ) ? ":{$parts['port']}" : '';
		if ( Address::is_store_host( $host . $port, $store->get_text( 'host' ) ) ) {
			return self::request_own_server( $parts, $host . $port, $arguments );
		}
		return ( new \WP_Http() )->block_request( $url )
			? new \WP_Error( 'http_request_not_executed', 'This store does not connect to other servers.' )
			: false;
	}

	/**
	 * @param array<string, mixed> $parts     of the URL
	 * @param array<string, mixed> $arguments of the request
	 */
	private static function request_own_server( array $parts, string $host, array $arguments ): mixed {
		$target    = self::SERVER . ( $parts['path'] ?? '/' ) . ( isset( $parts['query'] ) ? "?{$parts['query']}" : '' );
		$headers   = is_array( $arguments['headers'] ?? null ) ? $arguments['headers'] : [];
		$forwarded = [ 'Host' => $host, 'X-Forwarded-Proto' => $parts['scheme'] ?? 'http' ];
		$arguments = [ 'headers' => $forwarded + $headers, 'reject_unsafe_urls' => false ] + $arguments;
		return wp_remote_request( $target, $arguments );
	}
}
