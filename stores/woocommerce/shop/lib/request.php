<?php
/** WordPress expects an HTTP request, which commands do not have. */

declare(strict_types=1);

namespace Storefleet;

final class Request {
	/** Fill PHP's superglobals as for a request to the store's own URL. */
	public static function simulate(
		Configuration $store,
		string $uri = '/',
		string $script = '/index.php',
	): void {
		$url     = $store->get_text( 'url' );
		$https   = 'https' === parse_url( $url, PHP_URL_SCHEME );
		$port    = parse_url( $url, PHP_URL_PORT );
		$request = [
			'HTTP_HOST'       => $store->get_text( 'host' ) . ( $port ? ":{$port}" : '' ),
			'HTTP_USER_AGENT' => 'storefleet',
			'QUERY_STRING'    => (string) parse_url( $uri, PHP_URL_QUERY ),
			'REMOTE_ADDR'     => '127.0.0.1',
			'REQUEST_METHOD'  => 'GET',
			'REQUEST_SCHEME'  => $https ? 'https' : 'http',
			'REQUEST_URI'     => $uri,
			'DOCUMENT_ROOT'   => '/srv/wordpress',
			'SCRIPT_FILENAME' => "/srv/wordpress{$script}",
			'SCRIPT_NAME'     => $script,
			'PHP_SELF'        => $script,
			'SERVER_NAME'     => $store->get_text( 'host' ),
			'SERVER_PORT'     => (string) ( $port ?? ( $https ? 443 : 80 ) ),
			'SERVER_PROTOCOL' => 'HTTP/1.1',
			'SERVER_SOFTWARE' => 'Apache',
		];
		foreach ( $request as $name => $value ) {
			$_SERVER[ $name ] = $value;
		}
		parse_str( $request['QUERY_STRING'], $_GET );
		$_REQUEST = $_GET;
	}
}
