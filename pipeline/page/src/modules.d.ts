// Modules that are loaded for their effect alone: media-chrome defines its elements.
declare module 'media-chrome';
declare module 'media-chrome/menu';
