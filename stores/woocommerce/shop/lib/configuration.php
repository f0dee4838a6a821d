<?php
/** What the shop is told: one JSON file, and secrets in files that it names. */

declare(strict_types=1);

namespace Storefleet;

/** Another try would end the same; a program that is ended by it has the exit status 2. */
final class Mistake extends \RuntimeException {}

final class Configuration {
	private static ?self $current = null;

	/** @param array<string, mixed> $content */
	private function __construct( private readonly array $content ) {}

	/** The one that STORE_CONFIG names, read once a process; throws Mistake. */
	public static function current(): self {
		return self::$current ??= self::read( getenv( 'STORE_CONFIG' ) ?: '/etc/storefleet/store.json' );
	}

	private static function read( string $path ): self {
		$text    = is_file( $path ) ? file_get_contents( $path ) : false;
		$content = false === $text ? null : json_decode( $text, true, 20 );
		if ( ! is_array( $content ) ) {
			throw new Mistake( "The shop's configuration $path is missing or no JSON object: correct the chart's ConfigMap." );
		}
		return new self( $content );
	}

	/** A text at a path such as "database.host"; throws Mistake. */
	public function text( string $path ): string {
		$value = $this->find( $path );
		if ( ! is_string( $value ) || '' === $value ) {
			throw new Mistake( "The shop's configuration has no text “{$path}”: correct the chart's ConfigMap." );
		}
		return $value;
	}

	/** The same, or a value that stands for it. */
	public function optional( string $path, string $default ): string {
		$value = $this->find( $path );
		return is_string( $value ) || is_int( $value ) ? (string) $value : $default;
	}

	/** The content of the file that is named at the path; throws Mistake. */
	public function secret( string $path ): string {
		$file  = $this->text( $path );
		$value = is_readable( $file ) ? trim( (string) file_get_contents( $file, false, null, 0, 4096 ) ) : '';
		if ( '' === $value ) {
			throw new Mistake( "The secret {$file} is missing, empty or not readable: look at the store's Secrets." );
		}
		return $value;
	}

	private function find( string $path ): mixed {
		$value = $this->content;
		foreach ( explode( '.', $path ) as $part ) {
			$value = is_array( $value ) ? ( $value[ $part ] ?? null ) : null;
		}
		return $value;
	}
}
