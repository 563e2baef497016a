// Sets the remembered colour scheme before the first paint: loaded as a blocking script, so that nothing flashes.
{
  let choice: string | null = null;
  try {
    choice = localStorage.getItem('streamforge.scheme');
  } catch {
    // Storage is closed to us, as in some private windows: the system's scheme is used.
  }
  if (choice === 'light' || choice === 'dark') document.documentElement.dataset['scheme'] = choice;
}
