<?php
/**
 * Say why plugins, themes and updates cannot be changed in the admin, and what to do instead, where
 * WordPress only says that it is not allowed.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class ManagedCode {
	/** WordPress's sentences, by their English source. */
	private const REFUSALS   = '/^Sorry, you are not allowed to (install|update|delete|upload|edit|manage|modify|upgrade|change) .*\b(plugins?|themes?|templates|translations|this site)\b/i';
	private const NO_ACCESS  = 'Sorry, you are not allowed to access this page.';
	private const CODE_PAGES = [
		...[ 'plugin-install.php', 'plugin-editor.php', 'plugins.php' ],
		...[ 'theme-install.php', 'theme-editor.php', 'update-core.php', 'update.php' ],
	];
	private const REASON = 'The platform manages the plugins and themes of this store and their updates: they are part of the store’s version. '
		. 'To update them, upgrade the store on the platform’s dashboard; for other plugins or themes, ask the people who run the platform for a version that contains them.';

	public static function register_hooks(): void {
		add_filter( 'gettext_default', [ self::class, 'explain_refusal' ], 20, 2 );
	}

	/** WordPress passes on whatever code asks it to translate, null too. */
	public static function explain_refusal( mixed $translation, mixed $source ): mixed {
		if ( ! is_string( $translation ) || ! is_string( $source ) ) {
			return $translation;
		}
		if ( ! str_starts_with( $source, 'Sorry, you are not allowed to' ) || ! self::is_administrator() ) {
			return $translation;
		}
		$is_code_page = is_admin() && in_array( $GLOBALS['pagenow'] ?? '', self::CODE_PAGES, true );
		$is_refusal   = 1 === preg_match( self::REFUSALS, $source ) || ( $is_code_page && self::NO_ACCESS === $source );
		return $is_refusal ? $translation . ' ' . self::REASON : $translation;
	}

	/** Others are refused because of their role, which the owner decides. */
	private static function is_administrator(): bool {
		return did_action( 'init' ) > 0 && current_user_can( 'activate_plugins' );
	}
}
