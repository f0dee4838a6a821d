<?php
/** Under which address the shop is asked for: that of the request where it may be believed, else the configured one. */

declare(strict_types=1);

namespace Storefleet;

final class Address {
	private const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

	/**
	 * Scheme and host, without a slash at the end. Believed is any one name below the domain in which stores are, so
	 * that a store can be given another name without a restart; the Ingress lets through what is the store's.
	 *
	 * @param array<string, mixed> $server
	 */
	public static function of( Configuration $store, array $server ): string {
		$configured = rtrim( $store->text( 'url' ), '/' );
		$scheme     = (string) parse_url( $configured, PHP_URL_SCHEME );
		$given      = strtolower( (string) ( $server['HTTP_HOST'] ?? '' ) );
		$told       = strtolower( (string) ( $server['HTTP_X_FORWARDED_PROTO'] ?? '' ) );
		if ( in_array( $told, [ 'http', 'https' ], true ) ) {
			$scheme = $told;
		}
		$host = self::is_ours( $given, $store->text( 'host' ) ) ? $given : substr( strstr( $configured, '://' ), 3 );
		return "{$scheme}://{$host}";
	}

	public static function is_ours( string $given, string $configured ): bool {
		$domain = strstr( strtolower( $configured ), '.' );
		if ( false === $domain ) {
			return $given === strtolower( $configured );
		}
		return 1 === preg_match( '/^' . self::LABEL . preg_quote( $domain, '/' ) . '(?::[0-9]{1,5})?$/D', $given );
	}
}
