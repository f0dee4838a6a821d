<?php
/**
 * Texts for customers that do not promise a mail. Texts are found by their English source, so the
 * store's language does not matter; sentences that later versions add are found by a pattern.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class MailWording {
	private const DOMAINS      = [ 'default', 'woocommerce' ];
	private const NO_MAIL      = 'This store does not send e-mail yet.';
	private const NEW_PASSWORD = 'The store has made a link for a new password. It does not send e-mail yet: ask the store for the link.';
	/** A promise: something was or will be sent, or is to be found in a mailbox. */
	private const PROMISE = '\b(sent|send you|e-?mailed|deliver(ed)?|follow\w*|receive[sd]?|check|notified|confirm(ed|ation)?)\b'
		. '[^.!?]{0,120}\b(e-?mails?|inbox)\b'
		. '|\b(e-?mails?|inbox)\b[^.!?]{0,80}\b(sent|arrive|receive|check)\b'
		. '|\be-?mailed (to )?you\b|\bto you by e-?mail\b';
	/** Instructions and errors about an address that a person types, and texts inside mails. */
	private const HARMLESS = '^this email has been|^you have received this message|^email "%|^comma-separated'
		. '|unknown (username|email)|could not be|cannot be|unable to|not sent|failed|we were unable'
		. '|verify the email|valid e-?mail|confirm the email address|^confirm (email|your admin)|email is correct';
	/** Sentences with a better text than NO_MAIL; the key is the source text. */
	private const TEXTS = [
		// WooCommerce's account pages.
		'Lost your password? Please enter your username or email address. You will receive a link to create a new password via email.' =>
			'Lost your password? Enter your username or e-mail address. The store makes a link for a new password; it does not send e-mail yet, so ask the store for the link.',
		'Password reset email has been sent.' => 'A link for a new password has been made.',
		'A password reset email has been sent to the email address on file for your account, but may take several minutes to show up in your inbox. Please wait at least 10 minutes before attempting another reset.' => self::NEW_PASSWORD,
		'A link to set a new password will be sent to your email address.' => 'This store does not send e-mail yet: ask the store for the link to set a password.',
		'Your account was created successfully and a password has been sent to your email address.' =>
			'Your account was created. This store does not send e-mail yet: ask the store for the link to set a password.',
		'Your account was created successfully. Your login details have been sent to your email address.' => 'Your account was created.',
		'Your account with %s is using a temporary password. We emailed you a link to change your password.' =>
			'Your account with %s is using a temporary password. Change it in the account details.',
		// WooCommerce's order pages.
		'Great news! Your order has been received, and a confirmation will be sent to your email address.' => 'Great news! Your order has been received.',
		'Please check your email for the order confirmation.' => 'Please note the number of your order.',
		"If you've just placed an order, give your email a quick check for the confirmation." => "If you've just placed an order, note its number.",
		'To track your order please enter your Order ID in the box below and press the "Track" button. This was given to you on your receipt and in the confirmation email you should have received.' =>
			'To track your order please enter its number in the box below and press the "Track" button. The page after your order showed the number.',
		'Found in your order confirmation email.' => 'Shown on the page after your order.',
		// WordPress's sign-in page.
		'Please enter your username or email address. You will receive an email message with instructions on how to reset your password.' =>
			'Enter your username or e-mail address. The store makes a link for a new password; it does not send e-mail yet, so ask the store for the link.',
		'Check your email for the confirmation link, then visit the <a href="%s">login page</a>.' => self::NEW_PASSWORD,
		'Registration complete. Please check your email, then visit the <a href="%s">login page</a>.' =>
			'Registration complete. This store does not send e-mail yet: ask the store for the link to set a password.',
		'Registration confirmation will be emailed to you.' => self::NO_MAIL,
		'Check your email' => 'E-mail is kept by the store',
		'There has been a critical error on this website. Please check your site admin email inbox for instructions. If you continue to have problems, please try the <a href="%s">support forums</a>.' =>
			'There has been a critical error on this website. Its owner finds the cause in the store’s logs on the platform’s dashboard.',
	];

	public static function register_hooks(): void {
		foreach ( self::DOMAINS as $domain ) {
			add_filter( "gettext_{$domain}", [ self::class, 'replace' ], 20, 2 );
			add_filter( "gettext_with_context_{$domain}", [ self::class, 'replace' ], 20, 2 );
		}
		add_action( 'wp_enqueue_scripts', [ self::class, 'replace_in_scripts' ], PHP_INT_MAX );
	}

	/** WordPress passes on whatever code asks it to translate, null too. */
	public static function replace( mixed $translation, mixed $source ): mixed {
		if ( ! is_string( $translation ) || ! is_string( $source ) ) {
			return $translation;
		}
		if ( false === stripos( $source, 'mail' ) && false === stripos( $source, 'inbox' ) ) {
			return $translation;
		}
		return self::is_for_customers() ? self::find_text( $source ) ?? $translation : $translation;
	}

	/** Pages, their background requests and the Store API; not the admin, its REST API and cron. */
	private static function is_for_customers(): bool {
		if ( defined( 'REST_REQUEST' ) ) {
			return str_contains( (string) ( $_SERVER['REQUEST_URI'] ?? '' ), 'wc/store' );
		}
		return ( ! is_admin() || wp_doing_ajax() ) && ! wp_doing_cron() && 'cli' !== PHP_SAPI;
	}

	/** Return the text instead of a promise, or null if the source promises nothing. */
	public static function find_text( string $source ): ?string {
		if ( isset( self::TEXTS[ $source ] ) ) {
			return self::TEXTS[ $source ];
		}
		// Longer texts with such placeholders are mails themselves.
		if ( strlen( $source ) > 400 || str_contains( $source, '###' ) || self::matches( self::HARMLESS, $source ) ) {
			return null;
		}
		$sentences = (array) preg_split( '/(?<=[.!?])\s+/', $source );
		$kept      = array_filter(
			$sentences, static fn ( string $sentence ): bool => ! self::matches( self::PROMISE, $sentence )
		);
		return count( $kept ) === count( $sentences ) ? null : implode( ' ', [ ...$kept, self::NO_MAIL ] );
	}

	private static function matches( string $pattern, string $text ): bool {
		return 1 === preg_match( "/{$pattern}/i", $text );
	}

	/** Do the same in the scripts of blocks, which translate in the browser. */
	public static function replace_in_scripts(): void {
		$flags    = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_HEX_TAG | JSON_HEX_AMP;
		$promise  = json_encode( self::PROMISE, $flags );
		$harmless = json_encode( self::HARMLESS, $flags );
		$no_mail  = json_encode( self::NO_MAIL, $flags );
		wp_add_inline_script(
			'wp-i18n',
			"( () => {
	const promise = new RegExp( {$promise}, 'i' ), harmless = new RegExp( {$harmless}, 'i' );
	wp.hooks.addFilter( 'i18n.gettext_woocommerce', 'storefleet/mail-wording', ( translation, source ) => {
		if ( harmless.test( source ) ) {
			return translation;
		}
		const sentences = source.split( /(?<=[.!?])\\s+/ ), kept = sentences.filter( each => ! promise.test( each ) );
		return kept.length === sentences.length ? translation : [ ...kept, {$no_mail} ].join( ' ' );
	} );
} )();"
		);
	}
}
