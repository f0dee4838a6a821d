<?php
/** Replace the template's names and times in one text, which may be serialized PHP. */

declare(strict_types=1);

namespace Storefleet;

final class TemplateText {
	private const SCALAR = '/\G(?:N;|[bdrR]:[^;{}"]*;|[aO]:\d+:(?:"[^"]*":\d+:)?\{|\})/';

	/** @param array<string, string> $names */
	public function __construct(
		private readonly array $names,
		private readonly int $from,
		private readonly int $until,
		private readonly int $shift,
	) {}

	public function rewrite( string $text ): string {
		return $this->rewrite_serialized( $text ) ?? $this->rewrite_plain( $text );
	}

	private function rewrite_plain( string $text ): string {
		$text = strtr( $text, $this->names );
		$text = (string) preg_replace_callback(
			'/(?<!\w)\d{10}(?!\w)/',
			fn ( array $found ): string => (string) $this->move( (int) $found[0] ),
			$text
		);
		return (string) preg_replace_callback(
			'/(?<!\d)(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)(?!\d)/',
			function ( array $found ): string {
				$moment = (int) strtotime( "{$found[1]} {$found[3]} UTC" );
				return gmdate( "Y-m-d\\{$found[2]}H:i:s", $this->move( $moment ) );
			},
			$text
		);
	}

	/** Rewrite the strings and numbers of serialized PHP with their lengths; null if it is something else. */
	private function rewrite_serialized( string $text ): ?string {
		$result = '';
		$length = strlen( $text );
		for ( $at = 0; $at < $length; ) {
			if ( 1 === preg_match( self::SCALAR, $text, $found, 0, $at ) ) {
				$result .= $found[0];
				$at     += strlen( $found[0] );
			} elseif ( 1 === preg_match( '/\Gi:(-?\d+);/', $text, $found, 0, $at ) ) {
				$result .= "i:{$this->move( (int) $found[1] )};";
				$at     += strlen( $found[0] );
			} elseif ( 1 === preg_match( '/\Gs:(\d+):"/', $text, $found, 0, $at ) ) {
				$start   = $at + strlen( $found[0] );
				$content = $this->rewrite( substr( $text, $start, (int) $found[1] ) );
				$at      = $start + (int) $found[1] + 2;
				if ( '";' !== substr( $text, $at - 2, 2 ) ) {
					return null;
				}
				$result .= 's:' . strlen( $content ) . ":\"{$content}\";";
			} else {
				return null;
			}
		}
		return $result;
	}

	private function move( int $moment ): int {
		return $moment >= $this->from && $moment <= $this->until ? $moment + $this->shift : $moment;
	}
}
