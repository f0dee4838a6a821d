<?php
/**
 * Request the front page once before the pod serves, so that no customer waits until the code is
 * loaded. Whatever the page answers, the pod serves: the page belongs to the store's owner.
 */

declare(strict_types=1);

namespace Storefleet;

final class WarmUp {
	private const MARK_FILE = '/tmp/storefleet-warm';
	/** Less than the time limit of the start-up probe. */
	private const TIMEOUT_S = 12;

	public static function run_once( Configuration $store ): void {
		if ( is_file( self::MARK_FILE ) ) {
			return;
		}
		$request = [
			'header'          => [ "Host: {$store->get_text( 'host' )}", 'Connection: close' ],
			'user_agent'      => 'storefleet',
			'timeout'         => self::TIMEOUT_S,
			'follow_location' => 0,
			'ignore_errors'   => true,
		];
		@file_get_contents( 'http://127.0.0.1:8080/', false, stream_context_create( [ 'http' => $request ] ) );
		touch( self::MARK_FILE );
	}
}
