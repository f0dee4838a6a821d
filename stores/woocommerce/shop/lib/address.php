<?php
/**
 * The store's own URL in its pages: that of the request if its host is acceptable, else the
 * configured one.
 */

declare(strict_types=1);

namespace Storefleet;

final class Address {
	private const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

	/**
	 * Return scheme and host, without a slash at the end.
	 *
	 * Every host name directly below the stores' domain is accepted, so that a store can be renamed
	 * without a restart; the Ingress admits the store's own names only.
	 *
	 * @param array<string, mixed> $server
	 */
	public static function resolve( Configuration $store, array $server ): string {
		$configured      = rtrim( $store->get_text( 'url' ), '/' );
		$scheme          = (string) parse_url( $configured, PHP_URL_SCHEME );
		$requested       = strtolower( (string) ( $server['HTTP_HOST'] ?? '' ) );
		$forwarded_proto = strtolower( (string) ( $server['HTTP_X_FORWARDED_PROTO'] ?? '' ) );
		if ( in_array( $forwarded_proto, [ 'http', 'https' ], true ) ) {
			$scheme = $forwarded_proto;
		}
		$is_ours = self::is_store_host( $requested, $store->get_text( 'host' ) );
		$host    = $is_ours ? $requested : substr( strstr( $configured, '://' ), 3 );
		return "{$scheme}://{$host}";
	}

	public static function is_store_host( string $requested, string $configured ): bool {
		$domain = strstr( strtolower( $configured ), '.' );
		if ( false === $domain ) {
			return $requested === strtolower( $configured );
		}
		$pattern = '/^' . self::LABEL . preg_quote( $domain, '/' ) . '(?::[0-9]{1,5})?$/D';
		return 1 === preg_match( $pattern, $requested );
	}
}
