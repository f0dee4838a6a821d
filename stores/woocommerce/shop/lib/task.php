<?php
/** How the platform asks for a task, and is told what came of it: variables, and the container's termination message. */

declare(strict_types=1);

namespace Storefleet;

final class Task {
	public const PATIENCE = 60;
	private const LIMIT   = 4096;

	/** The name of the dump that is meant. */
	public static function dump(): string {
		$name = (string) getenv( 'STOREFLEET_DUMP' );
		if ( 1 !== preg_match( '/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/D', $name ) ) {
			throw new Mistake( 'STOREFLEET_DUMP names no dump: the platform gives it.' );
		}
		return $name;
	}

	/** The moment since when orders count, as the database writes it. */
	public static function since(): string {
		$text  = (string) getenv( 'STOREFLEET_SINCE' );
		$moment = 1 === preg_match( '/^\d{4}-\d\d-\d\dT/', $text ) ? date_create_immutable( $text ) : false;
		if ( false === $moment ) {
			throw new Mistake( 'STOREFLEET_SINCE is no time such as 2026-01-31T12:00:00Z: the platform gives it.' );
		}
		return $moment->setTimezone( new \DateTimeZone( 'UTC' ) )->format( 'Y-m-d H:i:s' );
	}

	/** @param array<string, mixed> $result */
	public static function tell( array $result ): void {
		$text = (string) json_encode( $result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES );
		if ( strlen( $text ) > self::LIMIT ) {
			throw new \RuntimeException( 'the result is too long to be told' );
		}
		if ( false === file_put_contents( getenv( 'STOREFLEET_RESULT' ) ?: '/dev/termination-log', $text ) ) {
			throw new \RuntimeException( 'the result cannot be written' );
		}
		say( 'task', $text );
	}
}
