<?php
/**
 * Send requests of the store to itself to its own web server. The store's host name need not resolve
 * in the pod, and TLS ends before it.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Loopback {
	private const SERVER = 'http://127.0.0.1:8080';

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
	private static function answer( Configuration $store, $answer, array $arguments, string $url ): mixed {
		$parts = wp_parse_url( $url );
		$host  = strtolower( (string) ( $parts['host'] ?? '' ) );
		if ( false !== $answer || ! Address::is_store_host( $host, $store->get_text( 'host' ) ) ) {
			return $answer;
		}
		$target = self::SERVER . ( $parts['path'] ?? '/' );
		if ( isset( $parts['query'] ) ) {
			$target .= "?{$parts['query']}";
		}
		$headers  = is_array( $arguments['headers'] ?? null ) ? $arguments['headers'] : [];
		$port     = isset( $parts['port'] ) ? ":{$parts['port']}" : '';
		$headers += [ 'Host' => $host . $port, 'X-Forwarded-Proto' => $parts['scheme'] ?? 'http' ];
		// The redirects that the store answers name its own host again, so they come through here, too.
		return wp_remote_request(
			$target, [ 'headers' => $headers, 'reject_unsafe_urls' => false ] + $arguments
		);
	}
}
